using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Tokens;

namespace Cache.Service.Options;

/// <summary>
/// Checks the section of the JWT bearer tokens by the parameters that result, as ASP.NET reads it: it overlooks keys that it does
/// not know, and would turn down every token.
/// </summary>
internal static class BearerSettings
{
    private const string Section = "Authentication:Schemes:Bearer";

    // What HS256 wants.
    private const int MinKeyBits = 256;

    /// <summary>Whether tokens are accepted: the section is there. Adds a sentence an error.</summary>
    public static bool Check(IConfiguration configuration, ICollection<string> errors)
    {
        var section = configuration.GetSection(Section);
        if (!section.Exists())
        {
            return false;
        }

        try
        {
            var token = Result(configuration);
            CheckIssuers(section, token, errors);
            CheckAudiences(section, token.TokenValidationParameters, errors);
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or FormatException)
        {
            errors.Add($"{Section} cannot be used: {Secrets.Hide(exception.Message.TrimEnd('.'), configuration)}; "
                + "an Authority is an https:// address, switches are true or false, and each of SigningKeys has an Issuer of its own and a Value in Base64.");
        }

        return true;
    }

    private static JwtBearerOptions Result(IConfiguration configuration)
    {
        var services = new ServiceCollection();
        services.AddSingleton(configuration);
        services.AddLogging();
        services.AddAuthentication().AddJwtBearer();
        using var provider = services.BuildServiceProvider();
        return provider.GetRequiredService<IOptionsMonitor<JwtBearerOptions>>().Get(JwtBearerDefaults.AuthenticationScheme);
    }

    private static void CheckIssuers(IConfigurationSection section, JwtBearerOptions token, ICollection<string> errors)
    {
        var parameters = token.TokenValidationParameters;
        SecurityKey[] keys = [.. parameters.IssuerSigningKeys ?? []];
        string?[] issuers = [.. parameters.ValidIssuers ?? [], .. Given(section, "ValidIssuer")];
        if (section["ValidIssuers"] is not null)
        {
            errors.Add($"{Section}:ValidIssuers is a list; set {Section}:ValidIssuers:0.");
        }

        if (issuers.Any(string.IsNullOrWhiteSpace))
        {
            errors.Add($"{Section} has an issuer that is empty; set {Section}:ValidIssuer to what the tokens say (iss), or leave it out.");
        }

        foreach (var name in new[] { "Authority", "MetadataAddress" })
        {
            if (section[name] is { } address && !(Uri.TryCreate(address, UriKind.Absolute, out var uri) && uri is { Scheme: "http" or "https", Host.Length: > 0, UserInfo.Length: 0 }))
            {
                errors.Add($"{Section}:{name} cannot be used; it must be the issuer's address, such as https://login.example.com.");
            }
        }

        var named = section.GetSection("SigningKeys").GetChildren().Count();
        if (keys.Length < named)
        {
            errors.Add($"{Section}:SigningKeys has a key that is not used; each needs an Issuer that {Section}:ValidIssuer (or ValidIssuers:0) names too, and a Value in Base64.");
        }
        else if (keys.Any(key => key.KeySize < MinKeyBits))
        {
            errors.Add($"{Section}:SigningKeys has a key that is too short; its Value must be {MinKeyBits / 8} bytes or more, in Base64 (openssl rand -base64 32 makes one).");
        }
        else if (section["Authority"] is not null || section["MetadataAddress"] is not null)
        {
            // The issuer tells its name and its keys.
            return;
        }
        else if (keys.Length > 0 && parameters.ValidateIssuer && issuers.Length == 0)
        {
            errors.Add($"{Section} names no issuer, so that no token would be taken; set {Section}:ValidIssuer, and Issuer of each of {Section}:SigningKeys, to what the tokens say (iss).");
        }
        else if (keys.Length == 0)
        {
            errors.Add($"{Section} tells no way to check a token; set {Section}:Authority to the issuer's address, or {Section}:SigningKeys.");
        }
    }

    private static void CheckAudiences(IConfigurationSection section, TokenValidationParameters parameters, ICollection<string> errors)
    {
        string?[] audiences = [.. parameters.ValidAudiences ?? [], .. Given(section, "ValidAudience")];
        if (section["ValidAudiences"] is not null)
        {
            errors.Add($"{Section}:ValidAudiences is a list; set {Section}:ValidAudiences:0.");
        }
        else if (!parameters.ValidateAudience)
        {
            errors.Add($"{Section}:ValidateAudience is false, so that tokens for anybody would be taken; leave it out, and set {Section}:ValidAudiences:0.");
        }
        else if (audiences.Length == 0)
        {
            errors.Add($"{Section} names no audience, so that no token would be taken; set {Section}:ValidAudiences:0 ({Section}:Audience is not looked at).");
        }
        else if (audiences.Any(string.IsNullOrWhiteSpace))
        {
            errors.Add($"{Section} has an audience that is empty; set {Section}:ValidAudiences:0 to what the tokens say (aud).");
        }
    }

    private static string[] Given(IConfigurationSection section, string key) => section[key] is { } value ? [value] : [];
}
