"""The dialect of CompreFace's core, the part that runs its networks: an installation of CompreFace can use this one."""
