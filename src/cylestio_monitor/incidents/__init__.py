"""Reports and evidence about incidents: documents, OCSF events and the bundle that a third party can verify."""
