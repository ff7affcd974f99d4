// Google's FHIR for Go (STU3 and R4): what net/http fetches is unmarshalled, validated and marshalled again.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"
)

type bundle struct {
	Link  []struct{ Relation, URL string }
	Entry []struct{ Resource json.RawMessage }
}

type program struct {
	base         string
	unmarshaller *jsonformat.Unmarshaller
	marshaller   *jsonformat.Marshaller
}

// get fetches a URL and gives the resource as the library writes it, and the status.
func (p program) get(url string) (json.RawMessage, int, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", "application/fhir+json")
	if token := os.Getenv("TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, 0, err
	}
	resource, err := p.unmarshaller.Unmarshal(body)
	if err != nil {
		return nil, response.StatusCode, err
	}
	written, err := p.marshaller.Marshal(resource)
	return written, response.StatusCode, err
}

func (p program) entries(url string) ([]json.RawMessage, string, error) {
	written, _, err := p.get(url)
	if err != nil {
		return nil, "", err
	}
	var page bundle
	if err := json.Unmarshal(written, &page); err != nil {
		return nil, "", err
	}
	var resources []json.RawMessage
	for _, entry := range page.Entry {
		resources = append(resources, entry.Resource)
	}
	next := ""
	for _, link := range page.Link {
		if link.Relation == "next" {
			next = link.URL
		}
	}
	return resources, next, nil
}

func (p program) read() (any, error) {
	resource, _, err := p.get(p.base + "/Patient/1001")
	return resource, err
}

func (p program) missing() (any, error) {
	resource, status, err := p.get(p.base + "/Patient/nobody")
	return []any{status, strings.Contains(string(resource), "OperationOutcome")}, err
}

func (p program) search() (any, error) {
	people, _, err := p.entries(p.base + "/Patient?family=black&given=ruth")
	if err != nil {
		return nil, err
	}
	stays, _, err := p.entries(p.base + "/Encounter?patient=Patient/1001&_include=Encounter:location&_count=10")
	return append(people, stays...), err
}

func (p program) pages() (any, error) {
	var ids []string
	for url := p.base + "/Observation?_count=25"; url != ""; {
		resources, next, err := p.entries(url)
		if err != nil {
			return nil, err
		}
		for _, resource := range resources {
			var found struct{ ID string }
			if err := json.Unmarshal(resource, &found); err != nil {
				return nil, err
			}
			ids = append(ids, found.ID)
		}
		url = next
	}
	return ids, nil
}

func (p program) history() (any, error) {
	resources, _, err := p.entries(p.base + "/Patient/1001/_history")
	return resources, err
}

func (p program) statement() (any, error) {
	written, _, err := p.get(p.base + "/metadata")
	var statement struct{ FhirVersion string }
	if err == nil {
		err = json.Unmarshal(written, &statement)
	}
	return statement.FhirVersion, err
}

func step(name string, take func() (any, error)) {
	found, err := take()
	result := map[string]any{"step": name, "found": found}
	if err != nil {
		result = map[string]any{"step": name, "error": err.Error()}
	}
	line, err := json.Marshal(result)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func main() {
	version := fhirversion.R4
	if os.Getenv("VERSION") == "stu3" {
		version = fhirversion.STU3
	}
	unmarshaller, err := jsonformat.NewUnmarshaller("UTC", version)
	if err != nil {
		panic(err)
	}
	marshaller, err := jsonformat.NewMarshaller(false, "", "", version)
	if err != nil {
		panic(err)
	}
	p := program{os.Getenv("FHIR_BASE"), unmarshaller, marshaller}
	step("statement", p.statement)
	step("read", p.read)
	step("missing", p.missing)
	step("search", p.search)
	step("pages", p.pages)
	step("history", p.history)
}
