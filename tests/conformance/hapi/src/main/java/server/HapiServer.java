package server;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.FifoMemoryPagingProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import java.util.List;
import java.util.Map;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/** HAPI FHIR's plain server for each FHIR version on one port of 127.0.0.1, which is its only argument. */
public final class HapiServer {

    private static final List<String> TYPES = List.of(
            "Patient",
            "Observation",
            "Encounter",
            "Condition",
            "Location",
            "AllergyIntolerance",
            "Coverage",
            "MedicationOrder",
            "MedicationRequest",
            "MedicationStatement");

    private HapiServer() {}

    public static void main(String[] arguments) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        server.addConnector(connector);

        ServletContextHandler handler = new ServletContextHandler();
        Map<String, FhirContext> contexts = Map.of(
                "dstu2", FhirContext.forDstu2(),
                "stu3", FhirContext.forDstu3(),
                "r4", FhirContext.forR4(),
                "r4b", FhirContext.forR4B(),
                "r5", FhirContext.forR5());
        contexts.forEach((base, context) -> handler.addServlet(new ServletHolder(fhir(context)), "/" + base + "/*"));
        server.setHandler(handler);
        server.start();
        server.join();
    }

    private static RestfulServer fhir(FhirContext context) {
        RestfulServer fhir = new RestfulServer(context);
        Records records = new Records();
        fhir.registerProviders(TYPES.stream()
                .filter(context.getResourceTypes()::contains)
                .map(type -> new TypeProvider(context, type, records))
                .toList());
        FifoMemoryPagingProvider pages = new FifoMemoryPagingProvider(500);
        pages.setDefaultPageSize(50);
        pages.setMaximumPageSize(100);
        fhir.setPagingProvider(pages);
        fhir.setDefaultResponseEncoding(EncodingEnum.JSON);
        return fhir;
    }
}
