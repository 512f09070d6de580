//! `#[derive(CodedError)]`: kind, code and text of an error are declared once, at its variant.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{
    Data, DeriveInput, Error, Fields, Ident, LitInt, LitStr, Result, Token, Variant,
    parse_macro_input,
};

/// Implements `base::error::CodedError` for an enum, and the list `CODES` of its codes.
///
/// Each variant carries `#[error("text")]` of `thiserror` and one of
/// - `#[code("area/reason", Kind)]`, `Kind` being a variant of `base::error::ErrorKind`,
/// - `#[code("area/reason", Kind, retry_after = SECONDS)]`,
/// - `#[code(transparent)]`: the one field is a `CodedError` and answers itself.
#[proc_macro_derive(CodedError, attributes(code))]
pub fn derive_coded_error(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// The argument of `#[code(…)]`.
enum Code {
    Transparent,
    Declared { code: LitStr, kind: Ident, retry_after: Option<LitInt> },
}

impl Parse for Code {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(Ident) {
            let word: Ident = input.parse()?;
            return if word == "transparent" {
                Ok(Self::Transparent)
            } else {
                Err(Error::new(word.span(), "expected `transparent` or a code"))
            };
        }
        let code: LitStr = input.parse()?;
        input.parse::<Token![,]>()?;
        let kind = input.parse()?;
        let mut retry_after = None;
        if input.parse::<Option<Token![,]>>()?.is_some() {
            let word: Ident = input.parse()?;
            if word != "retry_after" {
                return Err(Error::new(word.span(), "expected `retry_after = SECONDS`"));
            }
            input.parse::<Token![=]>()?;
            retry_after = Some(input.parse()?);
        }
        Ok(Self::Declared { code, kind, retry_after })
    }
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(name.span(), "CodedError is derived for enums"));
    };
    let (mut kinds, mut codes, mut retries, mut list) = (vec![], vec![], vec![], vec![]);
    for variant in &data.variants {
        let ident = &variant.ident;
        match code_of(variant)? {
            Code::Transparent => {
                let Fields::Unnamed(fields) = &variant.fields else {
                    return Err(Error::new(ident.span(), "a transparent variant has one field"));
                };
                if fields.unnamed.len() != 1 {
                    return Err(Error::new(ident.span(), "a transparent variant has one field"));
                }
                kinds.push(quote!(Self::#ident(error) => ::base::error::CodedError::kind(error)));
                codes.push(quote!(Self::#ident(error) => ::base::error::CodedError::code(error)));
                retries.push(
                    quote!(Self::#ident(error) => ::base::error::CodedError::retry_after(error)),
                );
            }
            Code::Declared { code, kind, retry_after } => {
                kinds.push(quote!(Self::#ident { .. } => ::base::error::ErrorKind::#kind));
                codes.push(quote!(Self::#ident { .. } => #code));
                let text = text_of(variant);
                let retry = match retry_after {
                    Some(seconds) => {
                        retries.push(
                            quote!(Self::#ident { .. } => ::core::option::Option::Some(#seconds)),
                        );
                        quote!(::core::option::Option::Some(#seconds))
                    }
                    None => {
                        retries.push(quote!(Self::#ident { .. } => ::core::option::Option::None));
                        quote!(::core::option::Option::None)
                    }
                };
                list.push(quote!(::base::error::ErrorCode {
                    code: #code,
                    kind: ::base::error::ErrorKind::#kind,
                    retry_after: #retry,
                    text: #text,
                }));
            }
        }
    }
    Ok(quote! {
        impl #name {
            /// The codes that this area declares, in the order of its variants.
            pub const CODES: &'static [::base::error::ErrorCode] = &[#(#list),*];
        }

        impl ::base::error::CodedError for #name {
            fn kind(&self) -> ::base::error::ErrorKind {
                match self { #(#kinds),* }
            }

            fn code(&self) -> &'static str {
                match self { #(#codes),* }
            }

            fn retry_after(&self) -> ::core::option::Option<u64> {
                match self { #(#retries),* }
            }
        }
    })
}

fn code_of(variant: &Variant) -> Result<Code> {
    let attribute = variant.attrs.iter().find(|attribute| attribute.path().is_ident("code"));
    match attribute {
        Some(attribute) => attribute.parse_args(),
        None => Err(Error::new(variant.ident.span(), "a variant needs #[code(…)]")),
    }
}

/// The text of `#[error("…")]` as it is written, with its placeholders.
fn text_of(variant: &Variant) -> String {
    let text = |attribute: &syn::Attribute| {
        attribute.parse_args_with(|input: ParseStream<'_>| {
            let text: LitStr = input.parse()?;
            input.parse::<TokenStream>()?; // arguments of placeholders
            Ok(text.value())
        })
    };
    let attribute = variant.attrs.iter().find(|attribute| attribute.path().is_ident("error"));
    attribute.and_then(|attribute| text(attribute).ok()).unwrap_or_default()
}
