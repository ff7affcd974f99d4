package server;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.hl7.fhir.instance.model.api.IBaseResource;

/** Every version of every resource, in memory; an empty version says that the resource was deleted. */
final class Records {

    private final Map<String, List<Optional<IBaseResource>>> versions = new LinkedHashMap<>();

    /** The versions of `Type/id`, the first one first; none if there never was such a resource. */
    synchronized List<Optional<IBaseResource>> versions(String path) {
        return List.copyOf(versions.getOrDefault(path, List.of()));
    }

    /** The current version of `Type/id`. */
    Optional<IBaseResource> current(String path) {
        List<Optional<IBaseResource>> all = versions(path);
        return all.isEmpty() ? Optional.empty() : all.get(all.size() - 1);
    }

    /** The current versions of a type's resources, in the order they were made. */
    synchronized List<IBaseResource> all(String type) {
        return versions.keySet().stream()
                .filter(path -> path.startsWith(type + "/"))
                .map(this::current)
                .flatMap(Optional::stream)
                .toList();
    }

    synchronized void add(String path, Optional<IBaseResource> version) {
        versions.computeIfAbsent(path, ignored -> new ArrayList<>()).add(version);
    }
}
