"""What is trained after a search: the shortlist, the finalists, candidates of users."""
