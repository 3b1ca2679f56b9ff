"""Words before a full stop that need a second look, lower-cased and without their last stop.

Small closed lists of the languages in which a full stop is also the sign of an abbreviation. A word that
stands in none of them ends its sentence wherever a capital, a digit or a letter without case follows.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# a name, a number or an explanation follows: the sentence never ends here
NEVER = _words(
    "κ κα δρ u dr mr mrs ms mx prof profs gen col lt sgt cpl capt cmdr adm maj rev hon sen rep reps gov pres supt cpt "
    "messrs drs gens sens govs mme mlle mgr sra srta dra dña hr frl fr herrn dipl vs v e.g i.e cf viz approx ca circa "
    "resp z.b d.h u.a bzw evtl ggf vgl rd sog inkl exkl insb zzgl med phil jur nat h.c o.g z.t i.d.r m.e av apdo avda "
    "gral ing lic excmo p.ej nördl südl östl westl insbes einschl ausschl entspr bspw assoc suppl excl incl pvt brig "
    "insp atty dres sres sras profa arq hrsg verf geb pr mm т.е т.к напр доц св ред изд оз пос дер просп наб обл респ "
    "англ нем лат о р им проф ул акад см ср прибл"
)

# an abbreviation before a digit or a Roman number, a word of its own anywhere else
BEFORE_NUMBER = _words(
    "no nos nr núm núms n vol vols fig figs p pp ch chap sec sect art arts eq eqs ref refs para op tab abb s b c d f "
    "r t jan feb mar apr jun jul aug sep sept oct nov dec ver ext mon tue tues wed thu thur thurs fri sat sun abs bd "
    "bde str kap ziff rn anm tel pág págs párr cap janv févr avr juil déc st ст стр рис гл табл п д кв корп с т тел "
    "thm thms lem cor prop def ex exs reg regs cir pop ep eps max min mind env aprox ungef sched subsec cl pt tit "
    "amend stat app supp est bk aufl jg std sek máx mín dpto alg rem props defs"
)

# may end a sentence or stand inside it: the word that follows decides
EITHER = _words(
    "st ste mt ft inc ltd co corp bros mfg llc plc jr sr esq em al ed eds trans dept univ assn est ave blvd rd hwy pl "
    "sq gmbh mio mrd tsd fed civ crim dist div calif ariz colo fla mich minn nev okla tenn tex wis wyo jh jhs chr "
    "v.chr n.chr cie sig sigg uu ee ud uds vd vds др г гг в вв руб млн млрд тыс"
)

# "and so on": the sentence goes on in lower case or not at all
CLOSING = _words("etc usw u.s.w ecc т.д т.п")

# the hour before it is over, unless the day or the zone follows
TIMES = _words("a.m p.m")
AFTER_TIME = _words(
    "monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thurs fri sat sun january february "
    "march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct "
    "nov dec est edt cst cdt mst mdt pst pdt et ct mt pt gmt utc bst cet cest eastern central mountain pacific"
)

KNOWN = NEVER | BEFORE_NUMBER | EITHER | CLOSING | TIMES

# these behind a number are a unit, or what it counts
UNITS = _words("ms mm г гг руб коп р ч мин сек")

# a single letter behind one of these is no initial
LABELS = _words(
    "appendix vitamin plan part section class type group figure table exhibit option step phase grade category "
    "schedule annex hepatitis point line level chapter tabelle abbildung kapitel tableau chapitre tabla tabela tabella "
    "figura capítulo anhang anlage gruppe teil annexe partie grupo parte anexo"
)

# capitalised words that far more often begin a sentence than go on with a name
STARTERS = _words(
    "después luego entonces así también sin con más no sí cuando como mientras tras nunca puis ensuite alors ainsi "
    "cependant lorsque comme après avant depuis quand si danach später nun hier damals затем тогда поэтому однако "
    "когда если после the a an this that these those he she it they we you i his her its their our my there here in "
    "on at by for from with of to as if when while after before since because although though however but and or so "
    "then thus during under over both some many most all each every one two not what who whom whose why how where "
    "which today now later also only once until unless according despite following other another such more der die "
    "das ein eine er sie es wir im am auf bei nach mit von zu und aber doch auch als wenn seit diese dieser le la les "
    "un une il elle ils elles ce cette ces dans en sur pour par avec mais et el los las una ella ellos este esta "
    "estos estas al del pero según desde durante ihr ihre sein seine man dies wo was warum heute dann dort leur leurs "
    "son sa ses nous vous ici nosotros ustedes aquí hoy su sus его её ее их ему ей мы вы я это сейчас теперь здесь "
    "там потом он она оно они этот эта в на с по и но а из при для"
)

# German writes ordinals with a full stop: "am 3. Oktober", "im 19. Jahrhundert"
AFTER_ORDINAL = _words(
    "januar februar märz april mai juni juli august september oktober november dezember jahrhundert jahrhunderts "
    "jahrhunderte jh jahrestag geburtstag jahrtausend platz mal auflage klasse"
)

# and sets one of these before it
BEFORE_ORDINAL = _words(
    "der die das den dem des am im vom zum zur beim ein eine einen einem einer seine seinen seinem seiner ihre ihren "
    "ihrem ihrer jeder jede jeden jedem dieser diese diesem diesen unser unsere mein meine"
)
