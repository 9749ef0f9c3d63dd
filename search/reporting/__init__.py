"""What reads a study and says what is in it: computes once, then renders. It never trains."""
