"""Which networks there are: the catalogue, their files and licences, and how they are loaded."""
