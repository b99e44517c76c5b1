"""What a calibration says, in sentences, as JSON and as a picture."""
