"""How fast this machine is: the whole program (`loop`), and the networks alone (`networks`, `published`)."""
