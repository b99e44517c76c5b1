"""`evaluate`: the accuracy of models on labelled pictures and videos."""
