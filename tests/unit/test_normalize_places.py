"""Locations."""

import tracemalloc
from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import Item, Place
from worker.pipeline.gazetteer import COUNTRY_CODE, FILE, LABEL, key
from worker.pipeline.item_places import item_places
from worker.pipeline.location_reading import named_region
from worker.pipeline.places import (
    city_key,
    complete,
    country_code,
    distance_miles,
    find_area,
    find_place,
    find_places,
    region_name,
)

JUDGED = """
-  -  Austin, TX => Austin, TX, US
-  -  Austin, TX, US => Austin, TX, US
-  -  New York, NY, US => New York, NY, US
-  -  New York, New York, United States => New York, NY, US
-  -  Manlius, New York, United States => Manlius, NY, US
-  -  Rockaway Park, New York => Rockaway Park, NY, US
-  -  Brooklyn, New York, United States => Brooklyn, NY, US
-  -  North Chili, NY, US => North Chili, NY, US
-  -  Chicago, IL 60601 => Chicago, IL, US
-  -  San Francisco Bay Area => San Francisco, CA, US
-  -  Greater Boston => Boston, MA, US
-  -  Dallas-Fort Worth Metroplex => Dallas, TX, US
-  -  TX - Frisco => Frisco, TX, US
-  -  USA.VA.Reston => Reston, VA, US
-  -  US-TX-Austin => Austin, TX, US
-  -  US, CA, Santa Clara => Santa Clara, CA, US
-  -  CA - San Francisco; WA - Seattle => San Francisco, CA, US + Seattle, WA, US
-  -  New York, NY; San Francisco, CA => New York, NY, US + San Francisco, CA, US
-  -  New York, NY / Remote => New York, NY, US
-  -  San Francisco, CA or New York, NY => San Francisco, CA, US + New York, NY, US
-  -  San Francisco, CA, New York, NY, Austin, TX => San Francisco, CA, US + New York, NY, US + Austin, TX, US
-  -  Remote (US) => -, -, US
-  -  Remote - US => -, -, US
-  -  US Remote => -, -, US
-  -  Remote, USA => -, -, US
-  -  Remote - California => -, CA, US
-  -  Remote, TX => -, TX, US
-  -  Remote in Ohio => -, OH, US
-  -  Washington, DC => Washington, DC, US
-  -  Washington, D.C. => Washington, DC, US
-  -  Washington DC-Baltimore Area => Washington, DC, US
-  -  Texas => -, TX, US
-  -  Texas, United States => -, TX, US
-  -  United States => -, -, US
-  -  Denver, Colorado, USA => Denver, CO, US
-  -  Miami-Fort Lauderdale Area => Miami, FL, US
-  -  Boston MA => Boston, MA, US
-  -  Salt Lake City, UT (Hybrid) => Salt Lake City, UT, US
-  -  Houston, Harris County, TX => Houston, TX, US
-  -  Brooklyn, NY => Brooklyn, NY, US
-  -  Brooklyn, New York, NY => New York, NY, US
-  -  NYC => NYC, NY, US
-  -  St. Louis, MO => St. Louis, MO, US
-  -  Winston-Salem, NC => Winston-Salem, NC, US
-  -  San Juan, PR => San Juan, San Juan, PR
-  -  Atlanta, Georgia => Atlanta, GA, US
-  -  Georgia => nowhere
-  -  Portland, Oregon Metropolitan Area => Portland, OR, US
-  -  Remote - New York, NY => New York, NY, US
-  -  Anywhere in the United States => -, -, US
-  -  US - Remote (Anywhere) => -, -, US
-  -  Toronto, ON => Toronto, ON, CA
-  -  Toronto, Ontario, Canada => Toronto, ON, CA
-  -  Toronto, ON, CA => Toronto, ON, CA
-  -  Greater Toronto Area, Canada => Toronto, ON, CA
-  -  Montreal, Quebec, Canada => Montreal, QC, CA
-  -  Vancouver, BC, Canada => Vancouver, BC, CA
-  -  Remote - Canada => -, -, CA
-  -  Remote (Canada or US) => -, -, CA + -, -, US
-  -  Quebec City, Quebec, Canada => Quebec City, QC, CA
-  -  London, England, United Kingdom => London, England, GB
-  -  London, United Kingdom => London, England, GB
-  -  London Area, United Kingdom => London, England, GB
-  -  Greater London, England, United Kingdom => London, England, GB
-  -  Manchester, England => Manchester, England, GB
-  -  Belfast, Northern Ireland => Belfast, Northern Ireland, GB
-  -  Newcastle upon Tyne, England, United Kingdom => Newcastle upon Tyne, England, GB
-  -  England, United Kingdom => -, England, GB
-  -  UK => -, -, GB
-  -  London (UK) => London, England, GB
-  -  Remote, UK => -, -, GB
-  -  London or Manchester, UK => London, England, GB + Manchester, England, GB
-  -  London UK => London, England, GB
-  -  Dublin, Ireland => Dublin, Leinster, IE
-  -  Dublin, County Dublin, Ireland => Dublin, County Dublin, IE
-  -  Cork, Ireland => Cork, Munster, IE
-  -  County Cork, Ireland => -, County Cork, IE
-  -  Amsterdam, Noord-Holland, Nederland => Amsterdam, North Holland, NL
-  -  Amsterdam, North Holland, Netherlands => Amsterdam, North Holland, NL
-  -  The Hague, South Holland, Netherlands => The Hague, South Holland, NL
-  -  The Hague => The Hague, South Holland, NL
-  -  Utrecht, Utrecht, Netherlands => Utrecht, Utrecht, NL
-  -  Limburg, Netherlands => -, Limburg, NL
-  -  Berlin, DE => Berlin, Berlin, DE
-  -  Munich, Bavaria, Germany => Munich, Bavaria, DE
-  -  München, Bayern => München, Bavaria, DE
-  -  Frankfurt am Main, Hesse, Germany => Frankfurt am Main, Hesse, DE
-  -  80331 München, Deutschland => München, Bavaria, DE
-  -  Remote - Germany => -, -, DE
-  -  Remote (Deutschland) => -, -, DE
-  -  Bavaria, Germany => -, Bavaria, DE
-  -  Kreuzberg, Berlin, Germany => Berlin, Berlin, DE
-  -  Wien, Österreich => Wien, Vienna, AT
-  -  Vienna, Vienna, Austria => Vienna, Vienna, AT
-  -  Zürich, Switzerland => Zürich, Zurich, CH
-  -  Genève, Suisse => Genève, Geneva, CH
-  -  Basel, Basel-Stadt, Schweiz => Basel, Basel-Stadt, CH
-  -  Lyon, Auvergne-Rhône-Alpes, France => Lyon, Auvergne-Rhône-Alpes, FR
-  -  Ville de Paris, Île-de-France, France => Paris, Île-de-France, FR
-  -  Lyon 3e, 69, France => Lyon, Rhône, FR
-  -  Télétravail (France) => -, -, FR
-  -  Île-de-France, France => -, Île-de-France, FR
-  -  Madrid, Community of Madrid, Spain => Madrid, Madrid, ES
-  -  Barcelona, Cataluña, España => Barcelona, Catalonia, ES
-  -  Remoto, España => -, -, ES
-  -  Catalonia, Spain => -, Catalonia, ES
-  -  Milan, Lombardy, Italy => Milan, Lombardy, IT
-  -  Roma, Lazio, Italia => Roma, Lazio, IT
-  -  Warsaw, Mazowieckie, Poland => Warsaw, Mazovia, PL
-  -  Gdańsk, Pomorskie, Poland => Gdańsk, Pomerania, PL
-  -  São Paulo, São Paulo, Brazil => São Paulo, São Paulo, BR
-  -  Brasil (Remoto) => -, -, BR
-  -  Bengaluru, Karnataka, India => Bengaluru, Karnataka, IN
-  -  Delhi, India => Delhi, Delhi, IN
-  -  New Delhi, Delhi, India => New Delhi, Delhi, IN
-  -  Gurgaon, Haryana, India => Gurgaon, Haryana, IN
-  -  Sydney, New South Wales, Australia => Sydney, NSW, AU
-  -  Stockholm, Stockholm County, Sweden => Stockholm, Stockholm, SE
-  -  Göteborg, Sverige => Göteborg, Västra Götaland, SE
-  -  Singapore => Singapore, -, SG
-  -  Singapore, Singapore => Singapore, -, SG
-  -  Tokyo, Japan => Tokyo, Tokyo, JP
-  -  Shibuya, Tokyo, Japan => Shibuya, Tokyo, JP
-  -  Hong Kong => Hong Kong, -, HK
-  -  Hong Kong SAR => -, -, HK
-  -  Dubai, United Arab Emirates => Dubai, Dubai, AE
-  -  Luxembourg => -, -, LU
-  -  Luxembourg, Luxembourg => Luxembourg, Luxembourg, LU
-  -  Brussels, Belgium => Brussels, Brussels, BE
-  -  Brussels, Brussels Region, Belgium => Brussels, Brussels, BE
-  -  Copenhagen, Capital Region of Denmark, Denmark => Copenhagen, Capital Region, DK
-  -  Lisbon, Portugal => Lisbon, Lisbon, PT
-  -  Mexico City, Mexico => Mexico City, Mexico City, MX
-  -  Prague, Czechia => Prague, Prague, CZ
-  -  Prague, Czech Republic => Prague, Prague, CZ
-  -  Tel Aviv, Israel => Tel Aviv, Tel Aviv District, IL
-  -  USA, Canada => -, -, US + -, -, CA
-  -  UK, Germany, France => -, -, GB + -, -, DE + -, -, FR
-  -  USA Only => -, -, US
-  -  Europe => nowhere
-  -  EMEA => nowhere
-  -  Remote - Europe => nowhere
-  -  LATAM => nowhere
-  -  Worldwide => nowhere
-  -  EMEA - London => London, England, GB
-  -  Remote - EMEA; London, UK => London, England, GB
-  -  Germany, Berlin => Berlin, Berlin, DE
-  -  Germany - Munich => Munich, Bavaria, DE
-  -  Poland, Warsaw => Warsaw, Mazovia, PL
-  -  India - Bangalore => Bangalore, Karnataka, IN
-  -  IND - Bengaluru => Bengaluru, Karnataka, IN
-  -  GB-London => London, England, GB
-  -  London | Paris | Berlin => London, England, GB + Paris, Île-de-France, FR + Berlin, Berlin, DE
-  -  London, Paris, Berlin => London, England, GB + Paris, Île-de-France, FR + Berlin, Berlin, DE
-  -  London, UK & Paris, France => London, England, GB + Paris, Île-de-France, FR
-  -  Remote - London, Paris or Berlin => London, England, GB + Paris, Île-de-France, FR + Berlin, Berlin, DE
-  -  Remote => nowhere
-  -  Hybrid => nowhere
-  -  On-site => nowhere
-  -  Multiple Locations => nowhere
-  -  Headquarters => nowhere
-  -  HQ - Denver, CO => Denver, CO, US
-  -  Hybrid - London => London, England, GB
-  -  London (Hybrid) => London, England, GB
-  -  Home based - UK => -, -, GB
-  -  Field-based => nowhere
-  -  Distributed => nowhere
-  -  Bosnia and Herzegovina => -, -, BA
-  -  Trinidad & Tobago => -, -, TT
-  -  Newfoundland and Labrador, Canada => -, NL, CA
-  -  Tbilisi, Georgia => Tbilisi, Tbilisi, GE
-  -  Lahore, Punjab => Lahore, Punjab, PK
-  -  Islamabad, Pakistan => Islamabad, Islamabad, PK
-  -  123 Main St, Austin, TX 78701, US => Austin, TX, US
-  -  London SW1A 1AA, England => London, England, GB
-  -  Paris, TX => Paris, TX, US
-  -  Vancouver, WA => Vancouver, WA, US
-  -  Cologne, Germany => Cologne, North Rhine-Westphalia, DE
-  -  Dover, DE => Dover, DE, US
-  -  Remote - DE => -, -, DE
-  -  Ontario, CA => Ontario, CA, US
-  -  Ontario, Canada => -, ON, CA
-  -  Kansas City, Missouri => Kansas City, MO, US
-  -  Seoul, South Korea => Seoul, Seoul, KR
-  -  Buenos Aires, Argentina => Buenos Aires, Buenos Aires, AR
-  -  Bogotá, Colombia => Bogotá, Capital District, CO
-  -  Cape Town, Western Cape, South Africa => Cape Town, Western Cape, ZA
-  -  Zug, Switzerland => Zug, Zug, CH
-  -  Kyiv, Ukraine => Kyiv, Kyiv, UA
US -  Saint Paul, MN, US => Saint Paul, MN, US
CA -  Sharon, CA => Sharon, -, CA
CA -  Montréal, QC => Montréal, QC, CA
CA -  Calgary => Calgary, AB, CA
CA -  Kitchener, ON, CA => Kitchener, ON, CA
CA -  St. John's, NL => St. John's, NL, CA
-  CA Ottawa, CA => Ottawa, ON, CA
GB -  London, ENG, GB => London, England, GB
GB -  Leeds, West Yorkshire => Leeds, West Yorkshire, GB
GB -  Edinburgh, SCT, GB => Edinburgh, Scotland, GB
GB -  Cardiff, WLS, GB => Cardiff, Wales, GB
GB -  Stratford-upon-Avon => Stratford-upon-Avon, England, GB
GB -  Cambridge => Cambridge, England, GB
GB -  London/Remote => London, England, GB
IE -  Dublin, L, IE => Dublin, Leinster, IE
IE -  LH, IE => -, County Louth, IE
IE -  Galway => Galway, Connacht, IE
NL -  Amsterdam, NH, NL => Amsterdam, North Holland, NL
NL -  Den Haag => Den Haag, South Holland, NL
NL -  's-Hertogenbosch => 's-Hertogenbosch, North Brabant, NL
NL -  Utrecht => Utrecht, Utrecht, NL
NL -  ZH, NL => -, South Holland, NL
NL -  Amsterdam en omgeving => Amsterdam, North Holland, NL
NL -  1012 AB Amsterdam => Amsterdam, North Holland, NL
NL -  Werk van thuis => nowhere
NL -  Thuiswerken => nowhere
NL -  Eindhoven, NB, NL => Eindhoven, North Brabant, NL
NL -  Nederland => -, -, NL
NL -  Rotterdam/Den Haag => Rotterdam, South Holland, NL + Den Haag, South Holland, NL
NL -  Tilburg => Tilburg, North Brabant, NL
NL -  Oud-Beijerland, ZH, NL => Oud-Beijerland, South Holland, NL
DE -  Berlin => Berlin, Berlin, DE
DE -  Berlin, BE, DE => Berlin, Berlin, DE
DE -  München, BY, DE => München, Bavaria, DE
DE -  Muenchen => Muenchen, Bavaria, DE
DE -  Frankfurt => Frankfurt, Hesse, DE
DE -  Halle (Saale), ST, DE => Halle (Saale), Saxony-Anhalt, DE
DE -  Hamburg, Berlin => Hamburg, Hamburg, DE + Berlin, Berlin, DE
DE -  Berlin, Hamburg, München => Berlin, Berlin, DE + Hamburg, Hamburg, DE + München, Bavaria, DE
DE -  Köln/Bonn => Köln, North Rhine-Westphalia, DE + Bonn, North Rhine-Westphalia, DE
DE -  Homeoffice => nowhere
DE -  Deutschlandweit => nowhere
DE -  Nordrhein-Westfalen => -, North Rhine-Westphalia, DE
DE -  Rothenburg ob der Tauber => Rothenburg ob der Tauber, Bavaria, DE
DE -  Berlin-Kreuzberg => Berlin-Kreuzberg, Berlin, DE
DE -  Metropolregion Hamburg => Hamburg, Hamburg, DE
DE -  Berlin und Umgebung => Berlin, Berlin, DE
AT -  Wien, W, AT => Wien, Vienna, AT
AT -  Graz, Steiermark => Graz, Styria, AT
AT -  Linz, 4, AT => Linz, Upper Austria, AT
CH -  Zürich, ZH, CH => Zürich, Zurich, CH
CH -  Bern => Bern, Bern, CH
FR -  Paris, IDF, FR => Paris, Île-de-France, FR
FR -  Paris (75) => Paris, Paris, FR
FR -  Paris - 75 => Paris, Paris, FR
FR -  Paris et périphérie => Paris, Île-de-France, FR
FR -  75008 Paris => Paris, Île-de-France, FR
FR -  Télétravail => nowhere
FR -  La Rochelle, NAQ, FR => La Rochelle, Nouvelle-Aquitaine, FR
ES -  Madrid, MD, ES => Madrid, Madrid, ES
ES -  Barcelona, CT, ES => Barcelona, Catalonia, ES
ES -  Madrid y alrededores => Madrid, Madrid, ES
ES -  Teletrabajo => nowhere
ES -  Málaga, Andalucía => Málaga, Andalusia, ES
IT -  Milano, LOM, IT => Milano, Lombardy, IT
IT -  20121 Milano MI => Milano, Milan, IT
IT -  Torino => Torino, Piedmont, IT
IT -  Firenze, Toscana => Firenze, Tuscany, IT
PL -  Warszawa, Mazowieckie => Warszawa, Mazovia, PL
PL -  Kraków, MA, PL => Kraków, Lesser Poland, PL
PL -  Praca zdalna => nowhere
PL -  00-001 Warszawa => Warszawa, Mazovia, PL
BR -  São Paulo, SP => São Paulo, São Paulo, BR
BR -  Rio de Janeiro, RJ, BR => Rio de Janeiro, Rio de Janeiro, BR
BR -  Belo Horizonte - MG => Belo Horizonte, Minas Gerais, BR
BR -  Trabalho remoto => nowhere
IN -  Bangalore => Bangalore, Karnataka, IN
IN -  Bengaluru, KA, IN => Bengaluru, Karnataka, IN
IN -  Hyderabad, TG, IN => Hyderabad, Telangana, IN
IN -  Mumbai, Pune, Chennai => Mumbai, Maharashtra, IN + Pune, Maharashtra, IN + Chennai, Tamil Nadu, IN
IN -  Bangalore/Bengaluru => Bangalore, Karnataka, IN
AU -  Sydney NSW => Sydney, NSW, AU
AU -  Melbourne VIC => Melbourne, VIC, AU
AU -  Adelaide, SA => Adelaide, SA, AU
AU -  Perth, WA => Perth, WA, AU
AU -  Greater Sydney Area => Sydney, NSW, AU
SE -  Stockholm => Stockholm, Stockholm, SE
SE -  Malmö, M, SE => Malmö, Skåne, SE
JP -  東京都 => 東京都, Tokyo, JP
JP -  Osaka, 27, JP => Osaka, Osaka, JP
JP -  Kyoto, 26, JP => Kyoto, Kyoto, JP
BE -  Antwerpen, Vlaanderen => Antwerpen, Flanders, BE
DK -  København => København, Capital Region, DK
MX -  Ciudad de México, CDMX, MX => Ciudad de México, Mexico City, MX
BD -  Dhaka => Dhaka, Dhaka Division, BD
ZA -  Johannesburg, GP, ZA => Johannesburg, Gauteng, ZA
-  -  Remote - Texas or Florida => -, TX, US + -, FL, US
-  -  Greater Philadelphia => Philadelphia, PA, US
-  -  Research Triangle Park, NC => Research Triangle Park, NC, US
-  -  Remote, East Coast US => -, -, US
-  -  Kansas => -, KS, US
-  -  O'Fallon, MO => O'Fallon, MO, US
US -  Springfield => Springfield, -, US
-  -  Miami Beach FL 33139 => Miami Beach, FL, US
CA -  Remote, ON => -, ON, CA
GB -  Central London => London, England, GB
NL -  Leeuwarden, FR, NL => Leeuwarden, Friesland, NL
NL -  Amsterdam of Utrecht => Amsterdam, North Holland, NL + Utrecht, Utrecht, NL
NL -  Heel Nederland => -, -, NL
DE -  Frankfurt a.M. => Frankfurt a.M., Hesse, DE
CH -  Basel => Basel, Basel-Stadt, CH
FR -  Marseille (13) => Marseille, Bouches-du-Rhône, FR
ES -  Valencia, VC, ES => Valencia, Valencian Community, ES
ES -  Madrid, Madrid provincia => Madrid, Madrid, ES
ES -  Desde casa => nowhere
IT -  Napoli (NA) => Napoli, Naples, IT
-  -  Milan and Rome => Milan, Lombardy, IT + Rome, Lazio, IT
BR -  Porto Alegre/RS => Porto Alegre, Rio Grande do Sul, BR
IN -  Pan India => -, -, IN
-  -  Central Region, Singapore => -, -, SG
JP -  東京都港区 => 東京都港区, -, JP
-  -  Jersey => -, -, JE
-  -  New Mexico => -, NM, US
-  -  UK or Ireland => -, -, GB + -, -, IE
-  -  Germany / Austria / Switzerland => -, -, DE + -, -, AT + -, -, CH
-  -  Poland or Remote (EU) => -, -, PL
-  -  Remote (EU) => nowhere
-  -  APAC => nowhere
-  -  Field Sales => nowhere
-  -  Multiple Locations, US => -, -, US
-  -  Warehouse => nowhere
FR -  Courbevoie - 92 => Courbevoie, Hauts-de-Seine, FR
FR -  Ajaccio - 2A => Ajaccio, Corse-du-Sud, FR
IN -  Delhi / NCR, Gurugram, Noida => Delhi, Delhi, IN + Gurugram, Haryana, IN + Noida, Uttar Pradesh, IN
BD -  Anywhere in Bangladesh => -, -, BD
-  -  Dubai · UAE => Dubai, Dubai, AE
-  -  Remote - US: Select locations => -, -, US
-  -  Krakow, POL => Krakow, Lesser Poland, PL
-  -  Remote, Continental US => -, -, US
-  -  Remote (UK, Germany, Netherlands) => -, -, GB + -, -, DE + -, -, NL
-  -  Warsaw, Masovian Voivodeship, Poland => Warsaw, Mazovia, PL
-  -  Munich, BY => Munich, Bavaria, DE
-  -  Bogota, CO => Bogota, Capital District, CO
-  -  Casablanca, MA => Casablanca, Casablanca-Settat, MA
-  -  Worcester, MA => Worcester, MA, US
-  -  Boise, ID => Boise, ID, US
-  -  Jakarta, ID => Jakarta, Jakarta, ID
-  -  Indianapolis, IN => Indianapolis, IN, US
-  -  Ankara, Türkiye => Ankara, Ankara, TR
-  -  Hong Kong, Hong Kong SAR => Hong Kong, -, HK
-  -  Buenos Aires, Ciudad Autónoma de Buenos Aires, Argentina => Buenos Aires, Buenos Aires, AR
PL -  Warszawa (praca hybrydowa) => Warszawa, Mazovia, PL
-  -  Southern California => -, CA, US
-  -  Remote (CA, NY, WA) => -, CA, US + -, NY, US + -, WA, US
-  -  Remote in CA, TX, or NY => -, CA, US + -, TX, US + -, NY, US
-  -  LA, CA => LA, CA, US
-  -  New York, NY (Onsite) or Remote => New York, NY, US
-  -  350 5th Ave, New York, NY 10118 => New York, NY, US
-  -  Keizersgracht 1, 1015 CC Amsterdam, Netherlands => Amsterdam, North Holland, NL
NL -  Thuis => nowhere
IE -  Co. Cork => -, County Cork, IE
FR -  Paris 75001 => Paris, Île-de-France, FR
ES -  Granada, AN, ES => Granada, Andalusia, ES
IT -  Torino, TO => Torino, Turin, IT
PL -  Warszawa, Śródmieście => Warszawa, Mazovia, PL
CH -  St. Gallen, SG, CH => St. Gallen, St. Gallen, CH
DE -  Garching bei München => Garching bei München, Bavaria, DE
DE -  Walldorf (Baden) => Walldorf, Baden-Württemberg, DE
-  -  Surrey, England, United Kingdom => -, Surrey, GB
GB -  West Midlands => -, West Midlands, GB
GB -  South East England => -, England, GB
CA -  Windsor, CA => Windsor, ON, CA
JP -  Minato-ku, Tokyo => Minato-ku, Tokyo, JP
-  -  Remote - TX, FL, GA => -, TX, US + -, FL, US + -, GA, US
-  -  CAN-ON-Toronto => Toronto, ON, CA
US -  New York, Boston, Chicago => New York, NY, US + Boston, MA, US + Chicago, IL, US
-  CA London, CA => London, ON, CA
-  US Berlin, CT => Berlin, CT, US
-  -  Remote - Poland/Romania => -, -, PL + -, -, RO
-  -  North America, Europe => nowhere
ES -  Teletrabajo en Madrid, Madrid provincia => Madrid, Madrid, ES
PL -  Hybrydowa praca in Warszawa, mazowieckie => Warszawa, Mazovia, PL
NL -  Werken op afstand in Utrecht => Utrecht, Utrecht, NL
DE -  Arbeit von zu Hause => nowhere
MX -  Monterrey, N.L. => Monterrey, Nuevo León, MX
-  -  Groningen, Netherlands => Groningen, Groningen, NL
-  -  Frankfurt Rhine-Main Metropolitan Area => Frankfurt, Hesse, DE
-  -  Rio Grande do Sul, Brazil => -, Rio Grande do Sul, BR
-  -  Silesian Voivodeship, Poland => -, Silesia, PL
-  -  Zurich, Switzerland => Zurich, Zurich, CH
-  -  Vaud, Switzerland => -, Vaud, CH
-  -  Goa, India => -, Goa, IN
-  -  Quebec, Canada => -, QC, CA
-  -  Washington State => -, WA, US
-  -  Puerto Rico => -, -, PR
-  -  Holland, MI, US => Holland, MI, US
-  -  Lebanon, TN, United States => Lebanon, TN, US
-  -  Peru, IL => Peru, IL, US
-  -  Granada, Spain => Granada, Andalusia, ES
-  -  Germany, Bavaria => -, Bavaria, DE
-  -  Work-from-Home => nowhere
-  -  Work-from-home - Ohio => -, OH, US
-  -  Taichung, Taiwan => Taichung, Taichung, TW
-  -  Taipei City, Taiwan => Taipei, Taipei, TW
-  -  Banqiao, New Taipei City, Taiwan => New Taipei City, New Taipei, TW
-  -  Kaohsiung, Taiwan => Kaohsiung, Kaohsiung, TW
-  -  Zhubei, Taiwan => Zhubei, -, TW
-  -  Hsinchu, Taiwan, Taiwan => Hsinchu, Hsinchu, TW
-  -  Oulu, Finland => Oulu, Northern Ostrobothnia, FI
-  -  Seinäjoki, South Ostrobothnia, Finland => Seinäjoki, Southern Ostrobothnia, FI
-  -  Balikpapan, Indonesia => Balikpapan, East Kalimantan, ID
-  -  Macau => Macau, -, MO
-  -  Macau SAR => -, -, MO
-  -  North of Boston, MA => Boston, MA, US
-  -  20 miles north of Atlanta, GA => Atlanta, GA, US
-  -  Within 50 miles of Denver, CO => Denver, CO, US
-  -  15 minutes from Utrecht => Utrecht, Utrecht, NL
-  -  South of France => -, -, FR
GB -  North West England => -, England, GB
-  -  Northeast => nowhere
US -  Northeast => nowhere
-  -  Garoua, North, Cameroon => Garoua, North, CM
-  -  Lille, Nord => Lille, Nord, FR
-  -  Sales - East => nowhere
-  -  Sales Territory: Midwest => nowhere
-  -  Territory - Northeast US => -, -, US
-  -  Territory: Texas, Oklahoma => -, TX, US + -, OK, US
US -  New England Territory => nowhere
-  -  Northern Territory, Australia => -, NT, AU
-  -  Remote (EST) => nowhere
-  -  Remote (EST time zone) => nowhere
-  -  US (EST/CST) => -, -, US
-  -  Remote US, MST or PST => -, -, US
-  -  Remote, between UTC-3 and UTC+2 => nowhere
-  -  Raleigh, NC (EST) => Raleigh, NC, US
-  -  New York (Eastern Time) => New York, NY, US
-  -  Tallinn, EST => Tallinn, Harju, EE
-  -  EST - Tallinn => Tallinn, Harju, EE
-  -  Mobile, AL => Mobile, AL, US
-  -  Mobile, Alabama, United States => Mobile, AL, US
US -  Mobile => nowhere
-  -  Mobile, United States => -, -, US
-  -  Metro, Lampung, Indonesia => Metro, Lampung, ID
-  -  Berlin Office => Berlin, Berlin, DE
-  -  Our London head office => London, England, GB
-  -  San Francisco HQ, CA => San Francisco, CA, US
-  -  US HQ => -, -, US
US -  Head Office => nowhere
DE -  Büro Süd => nowhere
-  -  Bureau de Paris => Paris, Île-de-France, FR
-  -  Biuro Warszawa => Warszawa, Mazovia, PL
-  -  København K => København, Capital Region, DK
-  -  8000 Aarhus C, Danmark => Aarhus, Central Denmark, DK
DK -  Aalborg SØ => Aalborg, Northern Denmark, DK
-  -  Spring Valley, Washington, United States => Spring Valley, WA, US
-  -  Boston, Washington, United States => Boston, MA, US + Washington, DC, US
-  -  Flexible within Germany => -, -, DE
-  -  Metropolitan Area of Lyon => Lyon, Auvergne-Rhône-Alpes, FR
-  -  Co. Durham, UK => -, Durham, GB
-  -  Newry, Co. Down => Newry, Northern Ireland, GB
"""
"""The country of the site, that of the record, the text, and the places in it. Judged by eye."""


def judged() -> list[tuple[str | None, str | None, str, list[tuple[str | None, ...]]]]:
    rows = []
    for line in JUDGED.strip().splitlines():
        given, _, written = line.partition(" => ")
        near, country, text = given.split(maxsplit=2)
        places = [tuple(_or_none(part) for part in place.split(", ")) for place in written.split(" + ")]
        rows.append((_or_none(near), _or_none(country), text, [] if written == "nowhere" else places))
    return rows


def _or_none(text: str) -> str | None:
    return None if text == "-" else text


def named(place: Place) -> tuple[str | None, str | None, str | None]:
    return place.city, place.region, place.country


@pytest.mark.parametrize(("near", "country", "text", "places"), judged(), ids=str)
def test_places(near: str | None, country: str | None, text: str, places: list[tuple[str | None, ...]]) -> None:
    # A region that is not judged is one that the gazetteer does not tell.
    assert [named(place) for place in find_places(text, near, country)] == places


CERTAIN = {
    "Munich, Bavaria, Germany": ("Munich", "Bavaria", "DE"),
    "Munich, Germany": ("Munich", None, "DE"),
    "Berlin, Germany": ("Berlin", "Berlin", "DE"),
    "10115 Berlin, Deutschland": ("Berlin", "Berlin", "DE"),
    "Dublin, Ireland": ("Dublin", None, "IE"),
    "London, United Kingdom": ("London", None, "GB"),
    "Paris": ("Paris", None, None),
    "New York": ("New York", None, None),
    "New York, United States": ("New York", None, "US"),
    "Washington, United States": ("Washington", None, "US"),
    "Kreuzberg, Paris": (None, None, None),
    "San Francisco Bay Area": ("San Francisco", None, None),
    "Zürich, Schweiz": ("Zürich", None, "CH"),
    "Bangalore/Bengaluru, India": ("Bangalore", None, "IN"),
    "New York, NY; San Francisco, CA": (None, None, "US"),
    "New York, NY; London, UK": (None, None, None),
    "Portland, OR; Portland, ME": (None, None, "US"),
    "Austin, TX; Dallas, TX": (None, "TX", "US"),
    "Berlin, Hamburg": (None, None, None),
    "Cork, Ireland or Remote": ("Cork", None, "IE"),
    "&lt;b&gt;Oslo&lt;/b&gt;, Norway": ("Oslo", "Oslo", "NO"),
    "Little Wobbleton, Kent, England, United Kingdom": ("Little Wobbleton", "England", "GB"),
    "Kent, England, United Kingdom": (None, "Kent", "GB"),
}


@pytest.mark.parametrize(("text", "place"), CERTAIN.items())
def test_what_is_certain(text: str, place: tuple[str | None, str | None, str | None]) -> None:
    assert named(find_place(text)) == place


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        ",",
        "Remote",
        "Hybrid",
        "Georgia",
        "Punjab",
        "Europe",
        "EMEA",
        "Worldwide",
        "Anywhere",
        "Multiple locations",
        "12345",
        "a, b, c, d, e, f, g, h, i, j",
    ],
)
def test_nothing_is_said(text: str | None) -> None:
    assert find_place(text) == Place()
    assert find_places(text) == ()


@pytest.mark.parametrize(
    ("text", "near", "place"),
    [
        ("Berlin, DE", "DE", ("Berlin", "Berlin", "DE")),
        ("Dover, DE", "US", ("Dover", "DE", "US")),
        ("Dover, DE", "DE", ("Dover", None, "DE")),
        ("Perth, WA", "AU", ("Perth", "WA", "AU")),
        ("Toronto, CA", "CA", ("Toronto", None, "CA")),
        ("Ontario, CA", "CA", (None, "ON", "CA")),
        ("St. John's, NL", "CA", ("St. John's", "NL", "CA")),
        ("Austin, TX", "DE", ("Austin", "TX", "US")),
        ("Cambridge", "GB", ("Cambridge", None, "GB")),
        ("Munich", "NL", ("Munich", None, None)),
        ("Georgia", "US", (None, "GA", "US")),
    ],
)
def test_site_decides_between_two_readings(text: str, near: str | None, place: tuple[str, str, str]) -> None:
    assert named(find_place(text, near)) == place


@pytest.mark.parametrize(
    ("text", "country", "place"),
    [
        ("Toronto, CA", "CA", ("Toronto", None, "CA")),
        ("Sharon, MA", "CA", ("Sharon", None, "CA")),
        ("San Francisco, California", "CA", ("San Francisco", None, "CA")),
        ("London", "CA", ("London", None, "CA")),
    ],
)
def test_record_decides(text: str, country: str, place: tuple[str, str | None, str]) -> None:
    assert named(find_place(text, None, country)) == place


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("us", "US"),
        ("Germany", "DE"),
        ("deutschland", "DE"),
        ("Pays-Bas", "NL"),
        ("UK", "GB"),
        ("GBR", "GB"),
        ("U.S.", "US"),
        ("Côte d'Ivoire", "CI"),
        ("XX", None),
        (None, None),
    ],
)
def test_country_code(text: str | None, code: str | None) -> None:
    assert country_code(text) == code


@pytest.mark.parametrize(
    ("text", "country", "name"),
    [
        ("Texas", "US", "TX"),
        ("tx", "US", "TX"),
        ("Bayern", "DE", "Bavaria"),
        ("LOM", "IT", "Lombardy"),
        ("MZ", "PL", "Mazovia"),
        ("Comunidad de Madrid", "ES", "Madrid"),
        ("Borsetshire", "GB", "Borsetshire"),
        ("Texas", None, "Texas"),
        (None, "US", None),
    ],
)
def test_region_name(text: str | None, country: str | None, name: str | None) -> None:
    assert region_name(text, country) == name


@pytest.mark.parametrize(
    ("a", "b", "is_same"),
    [
        (("Munich", None, "DE"), ("München", "Bavaria", "DE"), True),
        (("The Hague", None, "NL"), ("'s-Gravenhage", None, "NL"), True),
        (("Bangalore", "Karnataka", "IN"), ("Bengaluru", None, "IN"), True),
        (("St. Louis", "MO", "US"), ("Saint Louis", "MO", "US"), True),
        (("New York", "NY", "US"), ("New York City", None, "US"), True),
        (("Portland", "OR", "US"), ("Portland", "ME", "US"), False),
        (("Frankfurt am Main", None, "DE"), ("Frankfurt (Oder)", None, "DE"), False),
        (("Little Wobbleton", None, "GB"), ("LITTLE WOBBLETON", None, "GB"), True),
        (("Little Wobbleton", "England", "GB"), ("Little Wobbleton", "Scotland", "GB"), False),
    ],
)
def test_same_city(a: tuple[str | None, ...], b: tuple[str | None, ...], is_same: bool) -> None:
    assert (city_key(Place(*a[:3])) == city_key(Place(*b[:3]))) is is_same  # type: ignore[arg-type]


def test_a_place_without_a_city_has_no_key() -> None:
    assert city_key(Place(region="TX", country="US")) is None


def test_coordinates() -> None:
    berlin, potsdam = (complete(Place(city, None, "DE")) for city in ("Berlin", "Potsdam"))
    assert (berlin.latitude, berlin.longitude) == (52.524, 13.411)
    assert distance_miles(berlin, potsdam) == pytest.approx(17, abs=1)
    assert distance_miles(berlin, Place("Nowhere")) is None
    assert complete(berlin) == berlin
    assert complete(Place("Springfield", None, "US")) == Place("Springfield", None, "US")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Europe", "DE", "US"),
        ("Remote - EMEA", "ZA", "BR"),
        ("LATAM", "MX", "US"),
        ("DACH", "CH", "FR"),
        ("Americas, Europe, Israel", "CA", "JP"),
        ("Europa", "PL", "IN"),
        ("APAC", "AU", "GB"),
        ("Nordics", "FI", "DE"),
        ("EU", "IE", "GB"),
    ],
)
def test_area(text: str, inside: str, outside: str) -> None:
    assert inside in find_area(text)
    assert outside not in find_area(text)


def test_a_place_is_no_area() -> None:
    assert find_area("Berlin, Germany") == frozenset()
    assert find_area(None) == frozenset()


def test_lines_are_in_the_order_in_which_they_are_looked_up() -> None:
    lines = [line for line in FILE.read_bytes().splitlines() if not line.startswith(b"#")]
    assert lines == sorted(set(lines))


@pytest.mark.parametrize(
    "piece",
    [
        "CA - ",
        "remote ",
        "New York/",
        "Greater ",
        "1234 AB ",
        "(",
        "a.",
        "in ",
        "Berlin or ",
        "5 miles north of ",
        "UTC-5 to ",
    ],
)
def test_long_texts_take_little_time(piece: str) -> None:
    started = process_time()
    assert len(find_places(piece * 500)) <= len(piece * 500)
    assert process_time() - started < 1


def test_the_name_of_each_region_is_its_own() -> None:
    for line in FILE.read_text("utf-8").splitlines():
        region, *fields = line.split("\t")
        if fields[:1] == [LABEL]:
            country, name = region.partition("-")[0], fields[1]
            assert region_name(name, country) == name, region
            assert named_region(name, country) is not None, region


PIECES = st.sampled_from(
    [*CERTAIN, *(text for _, _, text, _ in judged()), "DE", "CA", "Remote", "Greater", "Area", "County", "75001", "-",
     "/", ";", "(", ")", "or", "the", "of", "US-", ".", "Berlin", "東京"]
)  # fmt: skip


@given(
    st.lists(PIECES | st.text(max_size=10), max_size=6),
    st.sampled_from([", ", " ", "; ", " - ", "/"]),
    st.sampled_from([None, "US", "DE"]),
)
def test_any_text_gives_parts_that_are_stable(pieces: list[str], separator: str, near: str | None) -> None:
    text = separator.join(pieces)
    for place in (find_place(text, near), *find_places(text, near)):
        assert place.country is None or country_code(place.country) == place.country
        assert region_name(place.region, place.country) == place.region
        assert place.city is None or place.city.strip()
        assert complete(complete(place, near), near) == complete(place, near)


@pytest.mark.parametrize("read", [find_place, find_places, key])
def test_long_texts_are_not_kept(read: Callable[[str], object]) -> None:
    length = 3_000_000
    tracemalloc.start()
    try:
        for number in range(3):
            assert read(f"Leeds {number}, UK{' ' * length}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < length


def test_at_most_a_hundred_places_of_a_job_are_read() -> None:
    towns = tuple(Place(city=f"Town {number}", country="GB") for number in range(300))
    item = Item(external_id="1", title="Welder", url="https://a.example/1", places=towns)
    assert item_places(item, item.url)[1] == towns[:100]
    lines = (line.split("\t") for line in FILE.read_text("utf-8").splitlines() if not line.startswith("#"))
    codes = {fields[0].upper() for fields in lines if fields[1] == COUNTRY_CODE and len(fields[0]) == 2}
    assert len(find_places(";".join(sorted(codes)))) == 100
