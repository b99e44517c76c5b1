"""The PostgreSQL database that devices share: connections to it, and its tables."""
