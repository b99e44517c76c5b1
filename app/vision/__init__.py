"""From pixels to faces: preparing pictures, decoding what networks say, aligning faces. It knows no people."""
