"""`demo`: a short video of public-domain portraits, with two people enrolled."""
