"""Three FHIR servers for a laptop, each in another software's style, with synthetic patients."""
