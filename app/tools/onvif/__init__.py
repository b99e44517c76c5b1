"""Finding ONVIF cameras, and asking them for the addresses of their streams."""
