"""What every other folder may use: errors, text, output, passwords, signals."""
