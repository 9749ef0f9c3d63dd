"""What any space may return: a network to be built, its recipe, and what the network costs."""
