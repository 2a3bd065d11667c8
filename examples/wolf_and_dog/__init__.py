"""A wolf or a dog? What was seen a thousand events ago decides."""
