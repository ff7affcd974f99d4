package reader;

import ca.uhn.fhir.context.BaseRuntimeChildDefinition;
import ca.uhn.fhir.context.BaseRuntimeElementCompositeDefinition;
import ca.uhn.fhir.context.FhirContext;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.hl7.fhir.instance.model.api.IBase;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.instance.model.api.IPrimitiveType;

/**
 * Reads documents as HAPI's servers and clients do, and says what it finds in them.
 *
 * <p>On standard input a document is a byte for the version (0: DSTU2, 1: STU3, 2: R4, 3: R4B, 4: R5), one for the format (0: JSON, 1:
 * XML), four for its length, and its bytes. For each, a line of JSON on standard output says what the resource is and, of
 * Bundles, what the envelope holds, or names the error that HAPI has with it. {@code criteria} are the references that a
 * server may take for searches.
 */
public final class Reader {

    private static final List<String> REQUEST =
            List.of("method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist");

    private final FhirContext context;

    private Reader(FhirContext context) {
        this.context = context;
    }

    public static void main(String[] arguments) throws IOException {
        List<Reader> readers = List.of(
                new Reader(FhirContext.forDstu2()),
                new Reader(FhirContext.forDstu3()),
                new Reader(FhirContext.forR4()),
                new Reader(FhirContext.forR4B()),
                new Reader(FhirContext.forR5()));
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        ObjectMapper json = new ObjectMapper();
        for (int version = in.read(); version >= 0; version = in.read()) {
            boolean isXml = in.readByte() == 1;
            byte[] document = in.readNBytes(in.readInt());
            out.println(json.writeValueAsString(readers.get(version).read(document, isXml)));
            out.flush();
        }
    }

    private Map<String, Object> read(byte[] document, boolean isXml) {
        var text = new InputStreamReader(new ByteArrayInputStream(document), StandardCharsets.UTF_8);
        var parser = isXml ? context.newXmlParser() : context.newJsonParser();
        try {
            return resource(parser.parseResource(text));
        } catch (RuntimeException | StackOverflowError error) {
            return Map.of("unreadable", error.getClass().getSimpleName());
        }
    }

    private Map<String, Object> resource(IBaseResource resource) {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("resourceType", context.getResourceType(resource));
        List<String> criteria = context.newTerser().getAllResourceReferences(resource).stream()
                .map(reference -> reference.getResourceReference().getReferenceElement().getValue())
                .filter(reference -> reference != null && reference.contains("?"))
                .toList();
        if (!criteria.isEmpty()) {
            found.put("criteria", criteria);
        }
        if (found.containsValue("Bundle")) {
            put(found, "type", string(resource, "type"));
            List<Map<String, Object>> links = new ArrayList<>();
            for (IBase link : children(resource, "link")) {
                links.add(strings(link, List.of("relation", "url")));
            }
            found.put("link", links);
            found.put("entry", children(resource, "entry").stream().map(this::entry).toList());
        }
        return found;
    }

    private Map<String, Object> entry(IBase entry) {
        Map<String, Object> found = strings(entry, List.of("fullUrl"));
        for (IBase request : children(entry, "request")) {
            found.put("request", strings(request, REQUEST));
        }
        for (IBase resource : children(entry, "resource")) {
            found.put("resource", resource((IBaseResource) resource));
        }
        for (IBase response : children(entry, "response")) {
            for (IBase outcome : children(response, "outcome")) {
                found.put("outcome", resource((IBaseResource) outcome));
            }
        }
        return found;
    }

    private Map<String, Object> strings(IBase element, List<String> names) {
        Map<String, Object> found = new LinkedHashMap<>();
        names.forEach(name -> put(found, name, string(element, name)));
        return found;
    }

    private String string(IBase element, String name) {
        List<IBase> values = children(element, name);
        return values.isEmpty() ? null : ((IPrimitiveType<?>) values.get(0)).getValueAsString();
    }

    private List<IBase> children(IBase element, String name) {
        var definition = (BaseRuntimeElementCompositeDefinition<?>) (element instanceof IBaseResource resource
                ? context.getResourceDefinition(resource)
                : context.getElementDefinition(element.getClass()));
        BaseRuntimeChildDefinition child = definition.getChildByName(name);
        return child == null ? List.of() : child.getAccessor().getValues(element);
    }

    private static void put(Map<String, Object> found, String name, String value) {
        if (value != null) {
            found.put(name, value);
        }
    }
}
