using Scalar.AspNetCore;

namespace Cache.Service.Http.Access;

/// <summary>Sets the headers that make a browser trust nothing but this service, on every answer including errors.</summary>
internal static class SecurityHeaders
{
    // Nothing inline, nothing from other origins: markup smuggled in through a hostile dimension could neither run nor load anything.
    private const string Page =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        + "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    public static void UseSecurityHeaders(this IApplicationBuilder app) => app.Use((context, next) =>
    {
        // At the last moment, because the exception handler clears headers set earlier.
        context.Response.OnStarting(static state =>
        {
            var context = (HttpContext)state;
            var headers = context.Response.Headers;
            headers.XContentTypeOptions = "nosniff";
            headers.XFrameOptions = "DENY";
            headers["Referrer-Policy"] = "no-referrer";
            headers["Cross-Origin-Resource-Policy"] = "same-origin";
            headers.ContentSecurityPolicy =
                context.Items.TryGetValue(ScalarOptions.NonceHttpContextItemKey, out var nonce) && nonce is string value ? Scalar(value) : Page;
            return Task.CompletedTask;
        }, context);
        return next(context);
    });

    /// <summary>Scalar's page starts from an inline script, which carries this answer's nonce, and adds its own inline styles.</summary>
    private static string Scalar(string nonce) =>
        $"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        + "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}
