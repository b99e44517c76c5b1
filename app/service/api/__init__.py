"""The program's own API: everything that the page shows, and what none of the dialects has."""
