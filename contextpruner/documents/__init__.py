"""What is given: documents, files of them, questions, and what each text is written in."""
