"""The dialect of InsightFace-REST: several pictures in one request, JSON or msgpack, faces with their embeddings."""
