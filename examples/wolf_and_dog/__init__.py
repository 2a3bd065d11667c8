"""Long memory: a cue a thousand events ago decides whether a picture shows a wolf or a dog."""
