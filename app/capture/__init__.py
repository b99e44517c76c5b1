"""Reading cameras, streams, videos and pictures. It knows no faces."""
