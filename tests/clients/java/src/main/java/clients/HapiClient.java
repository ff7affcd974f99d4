package clients;

import static clients.Steps.BASE;
import static clients.Steps.JSON;
import static clients.Steps.OWN;
import static clients.Steps.attempt;
import static clients.Steps.step;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.FhirVersionEnum;
import ca.uhn.fhir.model.api.Include;
import ca.uhn.fhir.rest.api.CacheControlDirective;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.SearchStyleEnum;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor;
import ca.uhn.fhir.rest.gclient.ReferenceClientParam;
import ca.uhn.fhir.rest.gclient.StringClientParam;
import ca.uhn.fhir.util.BundleUtil;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import org.hl7.fhir.instance.model.api.IBaseBundle;
import org.hl7.fhir.instance.model.api.IBaseConformance;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.instance.model.api.IIdType;

/** HAPI FHIR's generic client, with its check of the server's version and a token that it is given. */
public final class HapiClient {

    private final FhirContext context;
    private final IGenericClient client;

    private HapiClient(FhirContext context) {
        this.context = context;
        this.client = context.newRestfulGenericClient(BASE);
        if (System.getenv("TOKEN") != null) {
            client.registerInterceptor(new BearerTokenAuthInterceptor(System.getenv("TOKEN")));
        }
    }

    public static void main(String[] arguments) throws Exception {
        HapiClient program = new HapiClient(FhirContext.forCached(Steps.version(System.getenv("VERSION"))));
        step("statement", program::statement);
        step("read", () -> program.json(program.read("1001")));
        step("missing", () -> program.json(program.read("nobody")));
        step("search", () -> program.search(SearchStyleEnum.GET));
        step("post", () -> program.search(SearchStyleEnum.POST));
        step("pages", program::pages);
        step("history", program::history);
        step("write", program::write);
        step("batch", program::batch);
        program.client.setEncoding(EncodingEnum.XML);
        step("xml", () -> List.of(
                program.json(program.read("1001")),
                attempt(() -> program.read("nobody")),
                program.search(SearchStyleEnum.GET),
                program.pages(),
                program.write()));
    }

    private Object statement() throws Exception {
        Class<? extends IBaseResource> type = context.getResourceDefinition(
                        context.getVersion().getVersion() == FhirVersionEnum.DSTU2 ? "Conformance" : "CapabilityStatement")
                .getImplementingClass();
        IBaseResource statement =
                client.capabilities().ofType(type.asSubclass(IBaseConformance.class)).execute();
        return json(statement).get("fhirVersion");
    }

    private IBaseResource read(String id) {
        return client.read().resource("Patient").withId(id).execute();
    }

    private Object search(SearchStyleEnum style) throws Exception {
        IBaseBundle people = client.search()
                .forResource("Patient")
                .where(new StringClientParam("family").matches().value("black"))
                .and(new StringClientParam("given").matches().value("ruth"))
                .usingStyle(style)
                .cacheControl(new CacheControlDirective().setNoCache(true))
                .returnBundle(bundleType())
                .execute();
        IBaseBundle stays = client.search()
                .forResource("Encounter")
                .where(new ReferenceClientParam("patient").hasId("Patient/1001"))
                .include(new Include("Encounter:location"))
                .count(10)
                .usingStyle(style)
                .returnBundle(bundleType())
                .execute();
        return List.of(resources(people), resources(stays));
    }

    private Object pages() {
        List<String> ids = new ArrayList<>();
        IBaseBundle page = client.search()
                .forResource("Observation")
                .count(25)
                .returnBundle(bundleType())
                .execute();
        while (true) {
            BundleUtil.toListOfResources(context, page)
                    .forEach(found -> ids.add(found.getIdElement().getIdPart()));
            if (BundleUtil.getLinkUrlOfType(context, page, "next") == null) {
                return ids;
            }
            page = client.loadPage().next(page).execute();
        }
    }

    private Object history() throws Exception {
        IBaseResource first = client.read()
                .resource("Patient")
                .withIdAndVersion("1001", "1")
                .execute();
        IIdType id = first.getIdElement().toUnqualifiedVersionless();
        IBaseBundle past = client.history().onInstance(id).returnBundle(bundleType()).execute();
        return List.of(json(first), resources(past));
    }

    private Object write() throws Exception {
        IBaseResource patient = context.newJsonParser()
                .parseResource("{\"resourceType\": \"Patient\", \"gender\": \"female\", \"identifier\": [{\"system\":"
                        + " \"https://conformance.example/id\", \"value\": \"" + OWN + "\"}]}");
        String condition = "Patient?identifier=https://conformance.example/id|" + OWN;
        MethodOutcome once = client.create().resource(patient).conditionalByUrl(condition).execute();
        MethodOutcome again = client.create().resource(patient).conditionalByUrl(condition).execute();
        IIdType id = once.getId();
        MethodOutcome updated = client.update().resource(patient).withId(id.toUnqualifiedVersionless()).execute();
        Object stale = attempt(() -> client.update()
                .resource(patient)
                .withId(id.toUnqualified().withVersion("77"))
                .execute());
        client.delete().resourceById(id.toUnqualifiedVersionless()).execute();
        return List.of(
                once.getCreated(),
                again.getId().toUnqualified().equals(id.toUnqualified()),
                updated.getId().getVersionIdPart(),
                stale,
                attempt(() -> read(id.getIdPart())));
    }

    private Object batch() throws Exception {
        String requests = "";
        for (String url : List.of("Patient/1001", "Encounter?patient=Patient/1001&_count=2", "Patient/nobody")) {
            requests += (requests.isEmpty() ? "" : ",") + "{\"request\": {\"method\": \"GET\", \"url\": \"" + url + "\"}}";
        }
        String answer = client.transaction()
                .withBundle("{\"resourceType\": \"Bundle\", \"type\": \"batch\", \"entry\": [" + requests + "]}")
                .execute();
        List<String> statuses = new ArrayList<>();
        JSON.readTree(answer)
                .get("entry")
                .forEach(entry -> statuses.add(entry.at("/response/status").asText().substring(0, 3)));
        return statuses;
    }

    private List<JsonNode> resources(IBaseBundle bundle) throws Exception {
        List<JsonNode> resources = new ArrayList<>();
        for (IBaseResource resource : BundleUtil.toListOfResources(context, bundle)) {
            resources.add(json(resource));
        }
        return resources;
    }

    private JsonNode json(IBaseResource resource) throws Exception {
        return JSON.readTree(context.newJsonParser().encodeResourceToString(resource));
    }

    private Class<? extends IBaseBundle> bundleType() {
        return context.getResourceDefinition("Bundle").getImplementingClass().asSubclass(IBaseBundle.class);
    }
}
