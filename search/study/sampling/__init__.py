"""What is tried next, and what is given up early."""
