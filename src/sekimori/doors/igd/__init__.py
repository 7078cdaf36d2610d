"""The door of UPnP: an Internet gateway device, version 1 or 2."""
