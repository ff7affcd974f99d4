package clients;

import ca.uhn.fhir.context.FhirVersionEnum;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Callable;

/** A client program's steps: each prints {"step", "found"}, or {"step", "error"} with the error's name. */
final class Steps {

    static final ObjectMapper JSON = new ObjectMapper()
            .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .setNodeFactory(JsonNodeFactory.withExactBigDecimals(true));
    static final String BASE = System.getenv("FHIR_BASE");
    static final String OWN = System.getenv("OWN");

    private Steps() {}

    /** HAPI's name of a version: DSTU3 for stu3. */
    static FhirVersionEnum version(String name) {
        return FhirVersionEnum.valueOf(name.replaceFirst("^stu", "dstu").toUpperCase());
    }

    static void step(String name, Callable<Object> take) throws Exception {
        Map<String, Object> result = new HashMap<>(Map.of("step", name));
        try {
            result.put("found", take.call());
        } catch (Exception error) {
            result.put("error", described(error));
        }
        System.out.println(JSON.writeValueAsString(result));
    }

    /** Runs a step within another one, and gives what it found or the error. */
    static Object attempt(Callable<Object> take) {
        try {
            return take.call();
        } catch (Exception error) {
            return described(error);
        }
    }

    private static String described(Exception error) {
        return error.getClass().getSimpleName();
    }

    /** The resources of a Bundle in JSON. */
    static Object resources(JsonNode bundle) {
        return bundle.findValues("resource");
    }
}
