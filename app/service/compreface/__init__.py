"""The dialect of CompreFace's own API, which its SDKs, double-take, Viseron and Home Assistant set-ups speak."""
