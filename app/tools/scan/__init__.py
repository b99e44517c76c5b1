"""`scan`: faces of pictures drawn, and checked against annotations."""
