"""Links: through another machine by SSH, each in a process of its own."""
