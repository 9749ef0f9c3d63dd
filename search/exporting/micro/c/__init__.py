"""A network as a program in C99: its steps, what they declare, and the files around them."""
