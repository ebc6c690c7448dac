"""What is found out once a run is over: wrong audio, stalls, figures. No socket belongs here."""
