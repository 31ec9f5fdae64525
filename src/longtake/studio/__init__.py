"""Local web studio and server: jobs that a child process carries out, and what shows them."""
