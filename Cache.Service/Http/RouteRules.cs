using System.Reflection;

namespace Cache.Service.Http;

/// <summary>What holds for every route of a group, including routes that the framework maps.</summary>
internal static class RouteRules
{
    // An unknown name can be as long as a request line.
    private const int MaxNameLength = 64;

    /// <summary>Makes every GET route answer HEAD as well. The description of the API leaves that out.</summary>
    public static void AnswerHead(this IEndpointConventionBuilder routes) => routes.Add(route =>
    {
        if (route.Metadata.OfType<IHttpMethodMetadata>().LastOrDefault() is { HttpMethods: [var method] } only && HttpMethods.IsGet(method))
        {
            route.Metadata.Add(new HttpMethodMetadata([HttpMethods.Get, HttpMethods.Head], only.AcceptCorsPreflight));
        }
    });

    /// <summary>
    /// Answers 400 to a query parameter that the route's handler does not have: a mistyped <c>form=</c> would otherwise be
    /// answered with everything. Only for routes whose handler is a delegate with its parameters.
    /// </summary>
    public static void RefuseUnknownParameters(this IEndpointConventionBuilder routes) => routes.Finally(route =>
    {
        var known = route.Metadata.OfType<MethodInfo>().Single().GetParameters()
            .Where(parameter => parameter.ParameterType == typeof(string) && parameter.GetCustomAttribute<Microsoft.AspNetCore.Mvc.FromHeaderAttribute>() is null)
            .Select(parameter => parameter.Name!).ToList();
        var answer = route.RequestDelegate!;
        route.RequestDelegate = context => context.Request.QueryString.HasValue && Unknown(context.Request.Query, known) is { } errors
            ? ApiAnswers.WriteErrorsAsync(context, errors)
            : answer(context);
    });

    /// <summary>The errors of unknown parameters; null if there are none.</summary>
    private static Dictionary<string, string[]>? Unknown(IQueryCollection query, List<string> known)
    {
        Dictionary<string, string[]>? errors = null;
        foreach (var name in query.Keys)
        {
            if (!known.Contains(name, StringComparer.OrdinalIgnoreCase))
            {
                var shown = name.Length > MaxNameLength ? name[..MaxNameLength] : name;
                (errors ??= [])[shown] = [$"{shown} is not a parameter of this route{Remedy(shown, known)}"];
            }
        }

        return errors;
    }

    private static string Remedy(string name, List<string> known) =>
        known.Count == 0 ? ", which has none"
        : Spelling.Nearest(name, known) is { } nearest ? $"; did you mean {nearest}?"
        : $", which has {string.Join(", ", known)}";
}
