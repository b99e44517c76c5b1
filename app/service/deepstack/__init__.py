"""The dialect of DeepStack and CodeProject.AI, for faces."""
