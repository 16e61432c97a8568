// Package api holds the wire types of the manager's and the agent's HTTP APIs and the codes of their errors.
//
// Both servers, the typed clients and the provider speak these types; nothing here has behaviour, and the package
// imports nothing of this module. Field names are those of the deployment guide where the guide has one. The struct tags
// doc, minimum, pattern and the like are read by huma, which derives the OpenAPI document and the first validation from
// them.
package api
