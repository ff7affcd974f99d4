package server;

import ca.uhn.fhir.context.BaseRuntimeChildDefinition;
import ca.uhn.fhir.context.BaseRuntimeElementCompositeDefinition;
import ca.uhn.fhir.context.BaseRuntimeElementDefinition;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.param.DateParam;
import ca.uhn.fhir.rest.param.DateRangeParam;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import ca.uhn.fhir.util.UrlUtil;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.hl7.fhir.instance.model.api.IBase;
import org.hl7.fhir.instance.model.api.IBaseReference;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.instance.model.api.IPrimitiveType;

/** The search parameters of one type, by the paths of what they look at. */
final class Criteria {

    private static final Map<String, Map<String, List<String>>> PATHS = Map.of(
            "Patient",
            Map.of(
                    "family", List.of("name.family"),
                    "given", List.of("name.given"),
                    "name", List.of("name.family", "name.given", "name.text"),
                    "birthdate", List.of("birthDate"),
                    "gender", List.of("gender"),
                    "identifier", List.of("identifier")),
            "Observation",
            Map.of(
                    "patient", List.of("subject"),
                    "category", List.of("category.coding"),
                    "code", List.of("code.coding"),
                    "date", List.of("effective", "effective.start")),
            "Encounter",
            Map.of(
                    "patient", List.of("subject", "patient"),
                    "date", List.of("period.start", "actualPeriod.start"),
                    "location", List.of("location.location")),
            "Condition",
            Map.of("patient", List.of("subject", "patient"), "code", List.of("code.coding")),
            "Location",
            Map.of("name", List.of("name")));
    private static final List<String> STRINGS = List.of("family", "given", "name");
    private static final List<String> DATES = List.of("birthdate", "date");

    private final FhirContext context;
    private final String type;

    Criteria(FhirContext context, String type) {
        this.context = context;
        this.type = type;
    }

    /** The resources that match the query of `condition`, as in `Patient?identifier=1`. */
    List<IBaseResource> matching(List<IBaseResource> resources, String condition) {
        Map<String, List<String>> parameters = new HashMap<>();
        UrlUtil.parseQueryString(condition.substring(condition.indexOf('?') + 1))
                .forEach((name, values) -> parameters.put(name, List.of(values)));
        parameters.remove("_format"); // HAPI's client has it in a condition too
        return matching(resources, parameters);
    }

    /** The resources that match all parameters; a parameter that is not known is a bad request. */
    List<IBaseResource> matching(List<IBaseResource> resources, Map<String, List<String>> parameters) {
        Stream<IBaseResource> found = resources.stream();
        for (Map.Entry<String, List<String>> parameter : parameters.entrySet()) {
            String[] name = parameter.getKey().split(":");
            if (!PATHS.getOrDefault(type, Map.of()).containsKey(name[0])) {
                throw new InvalidRequestException(type + " has no search parameter " + name[0]);
            }
            String modifier = name.length > 1 ? name[1] : "";
            for (String value : parameter.getValue()) {
                found = found.filter(predicate(name[0], modifier, value));
            }
        }
        return found.toList();
    }

    /** What resources are sorted by: the first value of a parameter, as text. */
    String sortKey(IBaseResource resource, String parameter) {
        return values(resource, parameter).map(this::text).findFirst().orElse("");
    }

    private Predicate<IBaseResource> predicate(String name, String modifier, String value) {
        List<String> alternatives = Arrays.asList(value.split(","));
        if (DATES.contains(name)) {
            DateRangeParam range = new DateRangeParam(new DateParam(value));
            return resource -> dates(resource, name).anyMatch(date -> contains(range, date));
        }
        return resource -> values(resource, name)
                .anyMatch(found -> alternatives.stream().anyMatch(wanted -> matches(found, name, modifier, wanted)));
    }

    private boolean matches(IBase found, String name, String modifier, String wanted) {
        String text = text(found);
        if (!STRINGS.contains(name)) {
            return text.equals(wanted) || text.endsWith("|" + wanted) || text.endsWith("/" + wanted);
        }
        if (modifier.equals("exact")) {
            return text.equals(wanted);
        }
        String lower = text.toLowerCase();
        String part = wanted.toLowerCase();
        return modifier.equals("contains") ? lower.contains(part) : lower.startsWith(part);
    }

    private static boolean contains(DateRangeParam range, Date date) {
        Date from = range.getLowerBoundAsInstant();
        Date to = range.getUpperBoundAsInstant();
        return (from == null || !date.before(from)) && (to == null || !date.after(to));
    }

    private Stream<Date> dates(IBaseResource resource, String name) {
        return values(resource, name)
                .filter(IPrimitiveType.class::isInstance)
                .map(value -> ((IPrimitiveType<?>) value).getValue())
                .filter(Date.class::isInstance)
                .map(Date.class::cast);
    }

    private Stream<IBase> values(IBaseResource resource, String parameter) {
        return PATHS.get(type).get(parameter).stream().flatMap(path -> values(resource, path.split("\\."), 0));
    }

    private Stream<IBase> values(IBase element, String[] path, int depth) {
        if (depth == path.length) {
            return Stream.of(element);
        }
        BaseRuntimeElementDefinition<?> definition = element instanceof IBaseResource resource
                ? context.getResourceDefinition(resource)
                : context.getElementDefinition(element.getClass());
        if (!(definition instanceof BaseRuntimeElementCompositeDefinition<?> composite)) {
            return Stream.empty();
        }
        BaseRuntimeChildDefinition child = composite.getChildByName(path[depth]);
        if (child == null) {
            child = composite.getChildByName(path[depth] + "[x]");
        }
        return child == null
                ? Stream.empty()
                : child.getAccessor().getValues(element).stream().flatMap(value -> values(value, path, depth + 1));
    }

    /** A value as a search sees it: `system|code` of a coding or identifier, `Type/id` of a reference. */
    private String text(IBase value) {
        if (value instanceof IPrimitiveType<?> primitive) {
            return primitive.getValueAsString();
        }
        if (value instanceof IBaseReference reference) {
            return reference.getReferenceElement().toUnqualifiedVersionless().getValue();
        }
        return token(value, "system") + "|" + token(value, "code") + token(value, "value");
    }

    private String token(IBase value, String child) {
        return values(value, new String[] {child}, 0).map(this::text).findFirst().orElse("");
    }
}
