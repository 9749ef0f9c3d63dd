"""Workers on the machines of a Ray cluster. Nothing else in this project imports Ray."""
