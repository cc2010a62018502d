"""Campus, the example application: a school platform whose storage the example revisions migrate."""
