"""What a study's page in optuna-dashboard shows beyond Optuna's own."""
