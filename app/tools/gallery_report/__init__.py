"""The gallery as one page: every photo with its quality, and what is wrong or missing."""
