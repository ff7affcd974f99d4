package server;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.model.api.Include;
import ca.uhn.fhir.model.primitive.IdDt;
import ca.uhn.fhir.rest.annotation.ConditionalUrlParam;
import ca.uhn.fhir.rest.annotation.Create;
import ca.uhn.fhir.rest.annotation.Delete;
import ca.uhn.fhir.rest.annotation.History;
import ca.uhn.fhir.rest.annotation.IdParam;
import ca.uhn.fhir.rest.annotation.IncludeParam;
import ca.uhn.fhir.rest.annotation.OptionalParam;
import ca.uhn.fhir.rest.annotation.RawParam;
import ca.uhn.fhir.rest.annotation.Read;
import ca.uhn.fhir.rest.annotation.ResourceParam;
import ca.uhn.fhir.rest.annotation.Search;
import ca.uhn.fhir.rest.annotation.Sort;
import ca.uhn.fhir.rest.annotation.Update;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.SortOrderEnum;
import ca.uhn.fhir.rest.api.SortSpec;
import ca.uhn.fhir.rest.api.server.IBundleProvider;
import ca.uhn.fhir.rest.param.TokenOrListParam;
import ca.uhn.fhir.rest.server.IResourceProvider;
import ca.uhn.fhir.rest.server.SimpleBundleProvider;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.hl7.fhir.instance.model.api.IBaseReference;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.instance.model.api.IIdType;

/** One type's interactions: what HAPI leaves to its users is to store, to find and to sort. */
public final class TypeProvider implements IResourceProvider {

    private final FhirContext context;
    private final String type;
    private final Records records;
    private final Criteria criteria;

    TypeProvider(FhirContext context, String type, Records records) {
        this.context = context;
        this.type = type;
        this.records = records;
        this.criteria = new Criteria(context, type);
    }

    @Override
    public Class<? extends IBaseResource> getResourceType() {
        return context.getResourceDefinition(type).getImplementingClass();
    }

    @Read(version = true)
    public IBaseResource read(@IdParam IIdType id) {
        List<Optional<IBaseResource>> versions = versions(id);
        int version = versions.size();
        if (id.hasVersionIdPart()) {
            version = id.isVersionIdPartValidLong() ? id.getVersionIdPartAsLong().intValue() : 0;
        }
        if (version < 1 || version > versions.size()) {
            throw new ResourceNotFoundException(id);
        }
        return versions.get(version - 1).orElseThrow(() -> new ResourceGoneException(id));
    }

    @History
    public List<IBaseResource> history(@IdParam IIdType id) {
        List<IBaseResource> versions = new ArrayList<>(versions(id).stream().flatMap(Optional::stream).toList());
        Collections.reverse(versions);
        return versions;
    }

    @Create
    public MethodOutcome create(@ResourceParam IBaseResource resource, @ConditionalUrlParam String condition) {
        if (condition != null) {
            List<IBaseResource> matches = criteria.matching(records.all(type), condition);
            if (matches.size() > 1) {
                throw new PreconditionFailedException("The condition matches " + matches.size() + " resources");
            }
            if (matches.size() == 1) {
                return new MethodOutcome(matches.get(0).getIdElement(), false).setResource(matches.get(0));
            }
        }
        return store(resource, UUID.randomUUID().toString());
    }

    @Update
    public MethodOutcome update(@IdParam IIdType id, @ResourceParam IBaseResource resource) {
        checkVersion(id);
        return store(resource, id.getIdPart());
    }

    @Delete
    public MethodOutcome delete(@IdParam IIdType id) {
        checkVersion(id);
        read(id.toVersionless());
        records.add(path(id), Optional.empty());
        return new MethodOutcome();
    }

    @Search(allowUnknownParams = true)
    public IBundleProvider search(
            @OptionalParam(name = "_id") TokenOrListParam ids,
            @RawParam Map<String, List<String>> parameters,
            @IncludeParam Set<Include> includes,
            @Sort SortSpec sort) {
        List<IBaseResource> found =
                new ArrayList<>(criteria.matching(records.all(type), parameters == null ? Map.of() : parameters));
        if (ids != null) {
            found.removeIf(resource -> ids.getValuesAsQueryTokens().stream()
                    .noneMatch(id -> id.getValue().equals(resource.getIdElement().getIdPart())));
        }
        if (sort != null) {
            Comparator<IBaseResource> order =
                    Comparator.comparing(resource -> criteria.sortKey(resource, sort.getParamName()));
            found.sort(sort.getOrder() == SortOrderEnum.DESC ? order.reversed() : order);
        }
        if (includes != null && !includes.isEmpty()) {
            found.replaceAll(this::withTargets);
        }
        return new SimpleBundleProvider(found);
    }

    /** A copy whose references hold their targets: of these, HAPI adds those that are to be included. */
    private IBaseResource withTargets(IBaseResource resource) {
        IBaseResource copy = context.newTerser().clone(resource);
        copy.setId(resource.getIdElement());
        for (IBaseReference reference :
                context.newTerser().getAllPopulatedChildElementsOfType(copy, IBaseReference.class)) {
            records.current(reference.getReferenceElement().toUnqualifiedVersionless().getValue())
                    .ifPresent(reference::setResource);
        }
        return copy;
    }

    private MethodOutcome store(IBaseResource resource, String id) {
        String path = type + "/" + id;
        boolean isNew = records.current(path).isEmpty();
        resource.setId(new IdDt(type, id, Integer.toString(records.versions(path).size() + 1)));
        resource.getMeta().setLastUpdated(Date.from(Instant.now()));
        records.add(path, Optional.of(resource));
        return new MethodOutcome(resource.getIdElement(), isNew).setResource(resource);
    }

    /** Refuses the version of an If-Match header that is not the current one. */
    private void checkVersion(IIdType id) {
        int current = records.versions(path(id)).size();
        if (id.hasVersionIdPart() && !id.getVersionIdPart().equals(Integer.toString(current))) {
            throw new PreconditionFailedException("The current version is " + current);
        }
    }

    private List<Optional<IBaseResource>> versions(IIdType id) {
        List<Optional<IBaseResource>> versions = records.versions(path(id));
        if (versions.isEmpty()) {
            throw new ResourceNotFoundException(id);
        }
        return versions;
    }

    private String path(IIdType id) {
        return type + "/" + id.getIdPart();
    }
}
