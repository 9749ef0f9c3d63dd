"""What trains, stores and runs: knows nothing of CNN spaces or of commands."""
