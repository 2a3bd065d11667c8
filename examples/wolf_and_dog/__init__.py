"""Long memory: a cue a thousand events ago decides if a picture shows a wolf or a dog."""
