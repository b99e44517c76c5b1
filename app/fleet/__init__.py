"""One gallery for many devices: their folders are exchanged through a PostgreSQL database."""
