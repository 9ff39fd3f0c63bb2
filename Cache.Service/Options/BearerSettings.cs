using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Tokens;

namespace Cache.Service.Options;

/// <summary>
/// Checks the JWT bearer section by the parameters that ASP.NET derives from it: ASP.NET ignores keys that it does not know, and
/// would then reject every token.
/// </summary>
internal static class BearerSettings
{
    private const string Section = "Authentication:Schemes:Bearer";

    // Required by HS256.
    private const int MinKeyBits = 256;

    /// <summary>Checks the section, and adds one sentence per error.</summary>
    /// <returns>Whether tokens are accepted: the section exists.</returns>
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
                + "Authority must be an https:// address, switches must be true or false, and each of SigningKeys needs its own Issuer and a Value in Base64.");
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
        string?[] issuers = [.. parameters.ValidIssuers ?? [], .. ValueOf(section, "ValidIssuer")];
        if (section["ValidIssuers"] is not null)
        {
            errors.Add($"{Section}:ValidIssuers is a list; set {Section}:ValidIssuers:0.");
        }

        if (issuers.Any(string.IsNullOrWhiteSpace))
        {
            errors.Add($"{Section} has an empty issuer; set {Section}:ValidIssuer to the issuer in the tokens (iss), or remove it.");
        }

        foreach (var name in new[] { "Authority", "MetadataAddress" })
        {
            if (section[name] is { } address && !(Uri.TryCreate(address, UriKind.Absolute, out var uri) && uri is { Scheme: "http" or "https", Host.Length: > 0, UserInfo.Length: 0 }))
            {
                errors.Add($"{Section}:{name} cannot be used; it must be the issuer's address, such as https://login.example.com.");
            }
        }

        var configured = section.GetSection("SigningKeys").GetChildren().Count();
        if (keys.Length < configured)
        {
            errors.Add($"{Section}:SigningKeys has a key that is not used; each needs a Value in Base64, and an Issuer that is also in {Section}:ValidIssuer (or ValidIssuers:0).");
        }
        else if (keys.Any(key => key.KeySize < MinKeyBits))
        {
            errors.Add($"{Section}:SigningKeys has a key that is too short; its Value must be at least {MinKeyBits / 8} bytes, in Base64 (openssl rand -base64 32 generates one).");
        }
        else if (section["Authority"] is not null || section["MetadataAddress"] is not null)
        {
            // The issuer publishes its name and its keys.
            return;
        }
        else if (keys.Length > 0 && parameters.ValidateIssuer && issuers.Length == 0)
        {
            errors.Add($"{Section} has no issuer, so every token would be rejected; set {Section}:ValidIssuer, and the Issuer of each of {Section}:SigningKeys, to the issuer in the tokens (iss).");
        }
        else if (keys.Length == 0)
        {
            errors.Add($"{Section} has no way to validate tokens; set {Section}:Authority to the issuer's address, or {Section}:SigningKeys.");
        }
    }

    private static void CheckAudiences(IConfigurationSection section, TokenValidationParameters parameters, ICollection<string> errors)
    {
        string?[] audiences = [.. parameters.ValidAudiences ?? [], .. ValueOf(section, "ValidAudience")];
        if (section["ValidAudiences"] is not null)
        {
            errors.Add($"{Section}:ValidAudiences is a list; set {Section}:ValidAudiences:0.");
        }
        else if (!parameters.ValidateAudience)
        {
            errors.Add($"{Section}:ValidateAudience is false, so tokens for any audience would be accepted; remove it, and set {Section}:ValidAudiences:0.");
        }
        else if (audiences.Length == 0)
        {
            errors.Add($"{Section} has no audience, so every token would be rejected; set {Section}:ValidAudiences:0 ({Section}:Audience is ignored).");
        }
        else if (audiences.Any(string.IsNullOrWhiteSpace))
        {
            errors.Add($"{Section} has an empty audience; set {Section}:ValidAudiences:0 to the audience in the tokens (aud).");
        }
    }

    private static string[] ValueOf(IConfigurationSection section, string key) => section[key] is { } value ? [value] : [];
}
