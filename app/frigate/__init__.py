"""Names for the people of a Frigate: its events come over MQTT, its snapshots over HTTP."""
